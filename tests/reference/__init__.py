"""Training in plain torch, of any dtype, with gradients from autograd: what the fast paths must equal."""
