"""The twelve ImageNet CNNs: their table, weights, retraining and embeddings."""
