#ifndef PTYCHOSERVE_SERVER_DEVICE_MEMORY_ADMISSION_H_
#define PTYCHOSERVE_SERVER_DEVICE_MEMORY_ADMISSION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"

namespace ptychoserve::server {

// Who may hold how much memory of one device. Sessions reserve what they will need before
// anything is allocated, so that none of them runs out of memory later. Thread-safe.
class MemoryAdmission {
 public:
  MemoryAdmission(std::string device, std::int64_t usable_bytes);

  // Bytes that are set aside until this is released or destroyed; may outlive the admission.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept = default;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation() { Release(); }
    void Release();
    std::int64_t bytes() const { return bytes_ != nullptr ? *bytes_ : 0; }

   private:
    friend class MemoryAdmission;
    // Owned pointer to the amount; its deleter gives the bytes back.
    std::shared_ptr<const std::int64_t> bytes_;
  };

  // Errors: kResourceExhausted with the bytes needed and free; nothing is reserved then.
  absl::StatusOr<Reservation> Reserve(std::int64_t bytes);

  std::int64_t usable_bytes() const { return usable_bytes_; }
  std::int64_t reserved_bytes() const;
  std::int64_t free_bytes() const { return usable_bytes_ - reserved_bytes(); }

 private:
  struct Ledger {
    mutable Mutex mu;
    std::int64_t reserved ABSL_GUARDED_BY(mu) = 0;
  };

  const std::string device_;
  const std::int64_t usable_bytes_;
  const std::shared_ptr<Ledger> ledger_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_DEVICE_MEMORY_ADMISSION_H_
