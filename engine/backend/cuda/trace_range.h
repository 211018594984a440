#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_TRACE_RANGE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_TRACE_RANGE_H_

#include <nvtx3/nvtx3.hpp>

namespace ptychoserve::cuda {

struct TraceDomain {
  static constexpr const char* name = "ptychoserve";
};

// A stretch of the host's time line in NVIDIA's profilers, to the end of its scope. Without a
// profiler it is a call through a null pointer.
using TraceRange = nvtx3::scoped_range_in<TraceDomain>;

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_TRACE_RANGE_H_
