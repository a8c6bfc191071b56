"""Weights that others trained, as a start for the backbone: Keras, PyTorch and safetensors files of EfficientNets.

| module | content |
|---|---|
| `architecture.py` | the convolutions of Model Garden's EfficientNets, in order |
| `torch_pickle.py` | reads PyTorch's files without PyTorch, and without running what is in them |
| `files.py` | reads any weight file to named arrays |
| `names.py` | finds each convolution by the names that Keras, timm and others gave it |
| `weights.py` | the weights of a start, with the settings that they need |

`runs/init_weights.py` loads them, and `runs/start.py` returns the settings for a config.
"""
