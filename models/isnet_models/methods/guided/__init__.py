"""Methods that train an explanation: relevance, gradients or Grad-CAM held to the lungs."""
