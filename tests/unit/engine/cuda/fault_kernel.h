#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_FAULT_KERNEL_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_FAULT_KERNEL_H_

namespace ptychoserve {

// Writes where nothing is on the present GPU: its context is unusable from then on.
void BreakGpu();

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_FAULT_KERNEL_H_
