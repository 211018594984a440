"""Says why nothing arrives: `python3 -m ptychoserve.doctor --server HOST:PORT`.

docs/doctor.md tells what is checked.
"""
