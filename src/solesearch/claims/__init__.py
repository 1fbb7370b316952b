"""Each claim of the papers, what it is measured by, and the verdict."""
