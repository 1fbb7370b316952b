"""What the papers do not try: ablations, other losses, likeness in colour and shape, latent codes, growth."""
