"""Units as files state them. A unit that is not here, or not there, is never guessed."""

from __future__ import annotations

from typing import Mapping

from ptychoserve.errors import InvalidArgument, invalid

H_C_EV_M = 1.239841984e-6  # Photon energy times wavelength.
_ELECTRONVOLT_J = 1.602176634e-19

LENGTHS_M = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "pm": 1e-12,
             "angstrom": 1e-10}
ENERGIES_EV = {"eV": 1.0, "keV": 1e3, "MeV": 1e6, "J": 1 / _ELECTRONVOLT_J}
_ALSO = {"meter": "m", "metre": "m", "meters": "m", "metres": "m", "millimeter": "mm",
         "millimetre": "mm", "millimeters": "mm", "millimetres": "mm", "micron": "um",
         "microns": "um", "micrometer": "um", "micrometre": "um", "micrometers": "um",
         "micrometres": "um", "\u00b5m": "um", "\u03bcm": "um", "nanometer": "nm",
         "nanometre": "nm", "nanometers": "nm", "nanometres": "nm", "A": "angstrom",
         "\u00c5": "angstrom", "\u212b": "angstrom", "Angstrom": "angstrom",
         "angstroms": "angstrom", "ev": "eV", "kev": "keV", "KeV": "keV", "joule": "J"}


def factor(unit: str, units: Mapping[str, float], where: str) -> float:
    """What a number in `unit` is multiplied by.

    Args:
        units: `LENGTHS_M` or `ENERGIES_EV`.
        where: the dataset or field, for the error.

    Raises: InvalidArgument: the unit is none of them.
    """
    name = unit.strip()
    name = _ALSO.get(name, name)
    if name not in units:
        raise invalid(where, f"in {unit!r}", f"a unit of {', '.join(units)}")
    return units[name]


def no_unit(where: str, what_to_do: str) -> InvalidArgument:
    """The error of a number whose unit nobody has said."""
    return invalid(where, "a number without a unit", "an attribute 'units'", hint=what_to_do)
