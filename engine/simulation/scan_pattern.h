#ifndef PTYCHOSERVE_ENGINE_SIMULATION_SCAN_PATTERN_H_
#define PTYCHOSERVE_ENGINE_SIMULATION_SCAN_PATTERN_H_

#include <cstdint>
#include <vector>

namespace ptychoserve {

// Points of a scan in units of the step, in order of measurement, centred on (0, 0).
struct ScanPoints {
  std::vector<double> y, x;
  int fast_axis_points = 0;  // Points per line; 0 when the pattern has no lines.
};

// Lines along +x, from the lowest y on; round(sqrt(points)) a line, full lines only. Every point
// is off its place by up to a tenth of a step along either axis.
ScanPoints JitteredRaster(int points, std::uint64_t seed);

// Fermat's spiral with the golden angle, from the centre out (Huang et al., Optics Express 22,
// 12634, 2014): one point per squared step, as in the raster.
ScanPoints FermatSpiral(int points);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_SIMULATION_SCAN_PATTERN_H_
