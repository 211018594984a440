#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_TEST_CONFIG_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_TEST_CONFIG_H_

#include "engine/config.h"

namespace ptychoserve {

// A small valid session: `side` x `side` frames of u16, object pixels of 10 nm.
inline ReconstructionConfig SmallConfig(int side = 16) {
  constexpr double kPixel_m = 10e-9;
  ReconstructionConfig config;
  config.optics.wavelength_m = 1e-10;
  config.optics.distance_m = 1.0;
  config.optics.detector_pixel_size_y_m = 1e-10 / (side * kPixel_m);
  config.optics.detector_pixel_size_x_m = config.optics.detector_pixel_size_y_m;
  config.detector.frame_shape = {side, side};
  config.detector.dtype = DataType::kU16;
  config.scan.capacity = 64;
  config.object.max_pixels = 1 << 20;
  return config;
}
inline constexpr double kSmallPixel_m = 10e-9;

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_TEST_CONFIG_H_
