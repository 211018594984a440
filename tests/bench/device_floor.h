#ifndef PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_H_
#define PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace ptychoserve {

// What a GPU does with nothing but the vendor's library and plain copies, for comparison. The
// header needs no CUDA; in a CPU-only build all functions return kUnimplemented.

// Time per frame of a chain that only transforms: what an iteration cannot do without as long as
// it is made of library calls.
struct FftFloor {
  int batch = 0;       // Frames at once.
  double fft_us = 0;   // Forward and inverse transform of one complex64 wave, in place.
  double read_us = 0;  // One read of a u16 frame.
};

// Measured over `frames` frames of side x side pixels, or over as many as fit into 2 GiB of
// waves. Medians.
absl::StatusOr<FftFloor> MeasureFftFloor(int ordinal, int side, int frames);

// GB/s, read plus written, of a copy from device memory to device memory.
absl::StatusOr<double> MeasureCopyBandwidth(int ordinal);

// Bytes of device memory that nobody holds now.
absl::StatusOr<std::int64_t> FreeDeviceMemory(int ordinal);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_DEVICE_FLOOR_H_
