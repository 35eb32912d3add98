"""oncoseg: segment tumours on CT and MRI with every serious model, and say honestly how good each one is."""

__version__ = "0.1.0"
