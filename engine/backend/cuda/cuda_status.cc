#include "engine/backend/cuda/cuda_status.h"

#include "absl/strings/str_cat.h"

namespace ptychoserve::cuda {
namespace {

// After these the context is unusable, whatever is called next.
bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
      return true;
    default:
      return false;
  }
}

const char* CufftErrorName(cufftResult error) {
  switch (error) {
    case CUFFT_INVALID_PLAN:
      return "invalid plan";
    case CUFFT_ALLOC_FAILED:
      return "out of memory";
    case CUFFT_INVALID_TYPE:
      return "invalid type";
    case CUFFT_INVALID_VALUE:
      return "invalid value";
    case CUFFT_INTERNAL_ERROR:
      return "internal error";
    case CUFFT_EXEC_FAILED:
      return "execution failed";
    case CUFFT_SETUP_FAILED:
      return "set-up failed";
    case CUFFT_INVALID_SIZE:
      return "size not supported";
    default:
      return "error";
  }
}

}  // namespace

absl::Status CudaStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  std::string message =
      absl::StrCat(what, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")");
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // Not sticky: the next call shall not report it again.
    return absl::ResourceExhaustedError(message);
  }
  if (IsSticky(error)) return absl::DataLossError(message);
  return absl::InternalError(message);
}

absl::Status CufftStatus(cufftResult error, const char* what) {
  if (error == CUFFT_SUCCESS) return absl::OkStatus();
  std::string message =
      absl::StrCat(what, ": cuFFT ", CufftErrorName(error), " (", static_cast<int>(error), ")");
  if (error == CUFFT_ALLOC_FAILED) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

}  // namespace ptychoserve::cuda
