"""Words by which a device, a precision and compilation are asked for; imports no torch, for the command line."""

AUTO = "auto"
"""The machine decides. The default of all three."""

DEVICES = (AUTO, "cpu", "cuda", "mps")
PRECISIONS = (AUTO, "fp32", "bf16")
COMPILATION = (AUTO, "on", "off")
