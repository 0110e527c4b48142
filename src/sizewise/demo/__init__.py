"""The two-minute demonstration: real models of very different sizes, uneven traffic, one small machine."""
