#ifndef PTYCHOSERVE_ENGINE_IO_CXI_BASIS_H_
#define PTYCHOSERVE_ENGINE_IO_CXI_BASIS_H_

#include <array>
#include <optional>

#include "engine/config.h"

namespace ptychoserve {

// Metres along x, y and z of CXI: z along the beam, y up, x to the left for who looks along the
// beam.
using CxiVector = std::array<double, 3>;

// How frames must be turned for their rows to run down (-y) and their columns to the right (-x), as
// those of a detector without basis vectors do. CXI gives translations of the sample, so that the
// beam moves on it to the other side: its place in rows and columns is (y, x) of the translation.
// `row_step`, `col_step` lead from a pixel to the next of its column, and of its row. None when
// they are not along x and y, each along its own.
std::optional<Orientation> OrientationOfBasis(const CxiVector& row_step, const CxiVector& col_step);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_CXI_BASIS_H_
