"""Time of one photo, of training steps, and sizes of models."""
