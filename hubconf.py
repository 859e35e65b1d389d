"""Entry points for `torch.hub`; they need nothing but torch.

```python
import torch

net = torch.hub.load("path/to/checkout", "create", "RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s", source="local")
```
"""

from rksearch import create, list_models

dependencies = ["torch"]

__all__ = ["create", "dependencies", "list_models"]
