"""Networks, differentiable LRP relevance, heat-map losses and training methods of the ISNet."""
