#include "server/device/memory_admission.h"

#include <utility>

#include "server/service/errors.h"

namespace ptychoserve::server {

MemoryAdmission::MemoryAdmission(std::string device, std::int64_t usable_bytes)
    : device_(std::move(device)),
      usable_bytes_(usable_bytes),
      ledger_(std::make_shared<Ledger>()) {}

MemoryAdmission::Reservation& MemoryAdmission::Reservation::operator=(
    Reservation&& other) noexcept {
  bytes_ = std::move(other.bytes_);
  return *this;
}

void MemoryAdmission::Reservation::Release() { bytes_.reset(); }

absl::StatusOr<MemoryAdmission::Reservation> MemoryAdmission::Reserve(std::int64_t bytes) {
  {
    MutexLock lock(ledger_->mu);
    const std::int64_t free = usable_bytes_ - ledger_->reserved;
    if (bytes > free) return DeviceMemoryExhausted(device_, bytes, free, usable_bytes_);
    ledger_->reserved += bytes;
  }
  Reservation reservation;
  reservation.bytes_ = std::shared_ptr<const std::int64_t>(
      new std::int64_t(bytes), [ledger = ledger_](const std::int64_t* held) {
        MutexLock lock(ledger->mu);
        ledger->reserved -= *held;
        delete held;
      });
  return reservation;
}

std::int64_t MemoryAdmission::reserved_bytes() const {
  MutexLock lock(ledger_->mu);
  return ledger_->reserved;
}

}  // namespace ptychoserve::server
