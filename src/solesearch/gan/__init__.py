"""The InfoGAN and its training, and nothing else: this folder and the photos decide the weights."""
