"""From what was fitted to what serves: ONNX graphs, and the model card."""
