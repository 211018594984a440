#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_GRAPH_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_GRAPH_H_

#include <cuda_runtime_api.h>

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/cuda_status.h"
#include "engine/backend/cuda/stream.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {

// Owns a sequence of launches that can be repeated at the cost of one. Move-only. Not thread-safe.
class Graph {
 public:
  // What `enqueue` puts on `stream`, and on streams that fork from it and join it again, without
  // running it.
  static absl::StatusOr<Graph> Capture(const Stream& stream,
                                       absl::FunctionRef<absl::Status()> enqueue) {
    PS_RETURN_IF_ERROR(
        CudaStatus(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture"));
    const absl::Status enqueued = enqueue();
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream.get(), &graph);
    if (!enqueued.ok()) {
      if (graph != nullptr) (void)cudaGraphDestroy(graph);
      return enqueued;
    }
    PS_RETURN_IF_ERROR(CudaStatus(error, "cudaStreamEndCapture"));
    Graph result;
    const cudaError_t instantiated = cudaGraphInstantiate(&result.executable_, graph, 0);
    (void)cudaGraphDestroy(graph);
    PS_RETURN_IF_ERROR(CudaStatus(instantiated, "cudaGraphInstantiate"));
    return result;
  }

  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(executable_, other.executable_);
    return *this;
  }
  ~Graph() {
    if (executable_ != nullptr) (void)cudaGraphExecDestroy(executable_);
  }

  bool empty() const { return executable_ == nullptr; }
  absl::Status Launch(const Stream& stream) const {
    return CudaStatus(cudaGraphLaunch(executable_, stream.get()), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_GRAPH_H_
