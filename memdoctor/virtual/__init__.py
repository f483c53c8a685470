"""The virtual GPU: runs CUDA programs on meta tensors, with a simulated caching allocator behind them.

`gpu.py` enters and leaves all layers; everything else in this folder is one layer each.
"""
