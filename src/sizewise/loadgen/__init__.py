"""Load for one URL: when requests leave, how long answers take, and whether the generator itself kept up."""
