#ifndef PTYCHOSERVE_ENGINE_IO_NPY_H_
#define PTYCHOSERVE_ENGINE_IO_NPY_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/array.h"

namespace ptychoserve {

// One NumPy array: little-endian, C order.
struct NpyArray {
  std::string descr;                // "<f4", "<f8", "<c8", "<c16", "<u2", "|u1", "<i8", ...
  std::vector<std::int64_t> shape;  // Slowest first; empty for a scalar.
  std::vector<std::byte> data;

  static NpyArray FromComplex(const std::vector<std::int64_t>& shape,
                              const std::vector<Complex64>& values);
  static NpyArray FromFloat(const std::vector<std::int64_t>& shape,
                            const std::vector<float>& values);
  static NpyArray FromDouble(const std::vector<std::int64_t>& shape,
                             const std::vector<double>& values);
  // Errors: kInvalidArgument unless the array is numeric; "<c8", "<c16", and real types convert.
  absl::StatusOr<std::vector<std::complex<double>>> ToComplexDouble() const;
  // Errors: kInvalidArgument unless the array is real.
  absl::StatusOr<std::vector<double>> ToDouble() const;
};

// NPY format version 1 and 2 (numpy.lib.format). Reading takes C order, little-endian only.
// Errors: kNotFound, kInvalidArgument (not such a file; what is wrong), kInternal (input/output).
absl::StatusOr<NpyArray> ReadNpy(const std::string& path);
absl::Status WriteNpy(const std::string& path, const NpyArray& array);
// What precedes the data in an NPY file: magic, version 1.0, the padded header.
// Errors: kInvalidArgument (type not supported, shape and data do not match).
absl::StatusOr<std::string> NpyHeader(const NpyArray& array);
// An uncompressed archive as numpy.savez writes it.
absl::Status WriteNpz(const std::string& path,
                      const std::vector<std::pair<std::string, NpyArray>>& arrays);

// A probe: (rows, cols) or (modes, rows, cols), complex or real.
absl::StatusOr<ComplexStack> ReadProbeNpy(const std::string& path);
absl::Status WriteProbeNpy(const std::string& path, const ComplexStack& probe);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_NPY_H_
