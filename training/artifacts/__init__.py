"""What every stage writes with: ONNX graphs, and a word on where a result comes from."""
