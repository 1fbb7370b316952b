"""Visual similarity recommendation for shoes with an InfoGAN: the code the notebooks share.

P is Ay, Koyun, Demir, Aydin, "A Visual Similarity Recommendation System using Generative
Adversarial Networks", DeepML 2019. C is the book chapter by Ay and Aydin that extends it.
"""

import signal
import sys

from solesearch.core.surroundings import settle

settle()  # before TensorFlow, Keras and matplotlib are imported anywhere

if sys.argv[:1] == ["-m"]:  # `python -m solesearch.<command>` imports this first, then TensorFlow for seconds
    from solesearch.core.errors import end_at_once

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the caller ignores it
        signal.signal(signal.SIGINT, end_at_once)
