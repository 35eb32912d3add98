"""The shelf of checks: each file offers `CHECK: Check`, see `oncoseg.evaluation.audit.check`."""
