"""Operations of a decode step on a GPU: CUDA graphs and a Triton kernel."""
