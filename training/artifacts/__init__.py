"""What several stages write with: ONNX graphs, and the provenance of a result."""
