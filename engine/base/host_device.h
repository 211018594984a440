#ifndef PTYCHOSERVE_ENGINE_BASE_HOST_DEVICE_H_
#define PTYCHOSERVE_ENGINE_BASE_HOST_DEVICE_H_

// Marks an inline function that the CPU backend and CUDA kernels share.
#ifdef __CUDACC__
#define PS_HOST_DEVICE __host__ __device__
#else
#define PS_HOST_DEVICE
#endif

#endif  // PTYCHOSERVE_ENGINE_BASE_HOST_DEVICE_H_
