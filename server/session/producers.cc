#include "server/session/producers.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kMaxIdBytes = 64;

bool IsProducerId(const std::string& id) {
  return !id.empty() && id.size() <= kMaxIdBytes && std::ranges::all_of(id, [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == ':' || c == '-';
  });
}

}  // namespace

absl::Status Producers::Attach(RecordKind kind, const std::string& id, std::uint64_t epoch,
                               std::weak_ptr<Fenceable> stream) {
  if (!IsProducerId(id)) {
    return InvalidField(
        reason::kInvalidRequest, "open.producer",
        absl::StrCat("'", Cut(id, kMaxIdBytes), "'; allowed: 1 to 64 of A-Z a-z 0-9 . _ : -"));
  }
  std::shared_ptr<Fenceable> before;
  {
    MutexLock lock(mu_);
    Producer& producer = producers_[{kind, id}];
    if (epoch <= producer.epoch) return ProducerFenced(producer.epoch);
    producer.epoch = epoch;
    before = producer.stream.lock();
    producer.stream = std::move(stream);
  }
  note_(kind, id, epoch);
  if (before != nullptr) before->Fence(epoch);
  return absl::OkStatus();
}

void Producers::Restore(RecordKind kind, const std::string& id, std::uint64_t epoch) {
  MutexLock lock(mu_);
  Producer& producer = producers_[{kind, id}];
  producer.epoch = std::max(producer.epoch, epoch);
}

}  // namespace ptychoserve::server
