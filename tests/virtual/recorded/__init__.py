"""Small training programs of many kinds, each with the memory that PyTorch's CUDA build took for it (`peaks.json`)."""
