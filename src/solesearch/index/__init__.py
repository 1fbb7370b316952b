"""FAISS, Annoy, hnswlib, MongoDB and Milvus behind one pair of methods, and what they cost."""
