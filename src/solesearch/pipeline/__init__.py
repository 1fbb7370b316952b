"""What runs it all: notebooks in DVC, checks before a run, verification, the README's tables."""

import sys

# jsonschema, which nbformat imports, would compile a grammar of web addresses: longer than all else that
# starts a stage. No notebook's schema asks for one, and jsonschema does without where the package is missing.
sys.modules.setdefault("rfc3987_syntax", None)
