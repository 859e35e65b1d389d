"""Networks of rksearch in other people's libraries; each module imports its library, and nothing else here does.

```python
import timm
import rksearch.integrations.timm  # pip install 'rksearch[timm]'

net = timm.create_model("rknet_bc_k12_m2__9__12_1x8s__1x2s__1x2s", num_classes=10)
```
"""
