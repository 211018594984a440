// What clients name: sessions, pages, producers, fields to change, arrays. Names are taken exactly
// when they are what the API says; whatever is refused is refused in words that can be sent.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/publish/selection.h"
#include "server/security/caller.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/session/producers.h"
#include "server/session/session_registry.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve::server {
namespace {

constexpr const char* kIds[] = {"a", "b-1", "c"};

// A registry of some sessions on a device without arithmetic.
class Sessions {
 public:
  Sessions() {
    for (const char* id : kIds) Add(id);
  }
  ~Sessions() { devices_.Stop(); }

  SessionRegistry& registry() { return registry_; }

 private:
  static std::vector<std::unique_ptr<Device>> OneDevice() {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<FakeDevice>());
    return devices;
  }
  void Add(const std::string& id) {
    const auto created = registry_.Create(
        {kDefaultTenant, id}, {}, {}, [&]() -> absl::StatusOr<std::shared_ptr<Session>> {
          const ReconstructionConfig config = Resolve(SmallConfig());
          auto placement = devices_.Place(config, 1 << 20);
          FUZZ_CHECK(placement.ok());
          return Session::Create({.key = {kDefaultTenant, id}, .config = config},
                                 *std::move(placement), {.staging_bytes = 1 << 20},
                                 {notify_, journal_, files_, leisure_});
        });
    FUZZ_CHECK(created.ok());
  }

  WorkerPool notify_{1}, journal_{1}, files_{1}, leisure_{1};
  DeviceSet devices_{OneDevice(), std::int64_t{1} << 30, [] {}};
  SessionRegistry registry_{8};
};

bool HasOnly(const std::string& text, std::size_t most, const char* allowed) {
  return !text.empty() && text.size() <= most &&
         text.find_first_not_of(allowed) == std::string::npos;
}
bool IsSessionId(const std::string& id) {
  return HasOnly(id, 63, "abcdefghijklmnopqrstuvwxyz0123456789-");
}
bool IsProducerId(const std::string& id) {
  return HasOnly(id, 64, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-");
}

template <class Detail>
void CheckDetail(const google::protobuf::Any& any) {
  Detail detail;
  if (any.Is<Detail>()) FUZZ_CHECK(any.UnpackTo(&detail));
}
// The error can be sent, and read by the client.
void CheckRefusal(const absl::Status& status) {
  const grpc::Status sent = ToGrpcStatus(status);
  google::rpc::Status details;  // The parser refuses strings that are not UTF-8.
  FUZZ_CHECK(details.ParseFromString(sent.error_details()));
  FUZZ_CHECK(details.details_size() > 0);
  for (const google::protobuf::Any& any : details.details()) {
    CheckDetail<google::rpc::ErrorInfo>(any);
    CheckDetail<google::rpc::BadRequest>(any);
    CheckDetail<google::rpc::ResourceInfo>(any);
  }
  google::rpc::Status message;
  message.set_message(sent.error_message());
  FUZZ_CHECK(google::rpc::Status().ParseFromString(message.SerializeAsString()));
}

void LookUp(const SessionRegistry& registry, const std::string& name) {
  FUZZ_CHECK(CheckSessionId(name).ok() == IsSessionId(name));
  const std::string prefix = "sessions/";
  const bool is_name =
      name.compare(0, prefix.size(), prefix) == 0 && IsSessionId(name.substr(prefix.size()));
  const auto session = registry.Get(kDefaultTenant, name);
  if (session.ok()) {
    FUZZ_CHECK((*session)->name() == name);
  } else {
    FUZZ_CHECK(is_name == absl::IsNotFound(session.status()));
    CheckRefusal(session.status());
    if (const absl::Status id = CheckSessionId(name); !id.ok()) CheckRefusal(id);
  }
}

// From any token on, pages end, and hold each session once, in order.
void ListAll(const SessionRegistry& registry, int page_size, std::string token) {
  std::vector<std::string> ids;
  while (true) {
    const auto page = registry.List(std::nullopt, page_size, token);
    if (!page.ok()) {
      FUZZ_CHECK(absl::IsInvalidArgument(page.status()) && ids.empty());
      return CheckRefusal(page.status());
    }
    FUZZ_CHECK(page_size == 0 || static_cast<int>(page->sessions.size()) <= page_size);
    for (const auto& session : page->sessions) ids.push_back(session->id());
    token = page->next_page_token;
    if (token.empty()) break;
  }
  FUZZ_CHECK(std::ranges::is_sorted(ids));
  FUZZ_CHECK(std::ranges::adjacent_find(ids) == ids.end());
  FUZZ_CHECK(ids.size() <= std::size(kIds));
}

void AttachProducers(FuzzInput* input) {
  std::set<std::string> noted;
  Producers producers([&](RecordKind, const std::string& id, std::uint64_t) { noted.insert(id); });
  while (!input->empty()) {
    const auto epoch = input->Plain<std::uint64_t>();
    // Ids are strings of a message, which the parser has found to be UTF-8.
    v1::OpenStream open;
    open.set_producer(input->Bytes(input->Byte()));
    if (!open.ParseFromString(open.SerializeAsString())) continue;
    const absl::Status status =
        producers.Attach(RecordKind::kFrames, open.producer(), epoch, std::weak_ptr<Fenceable>());
    FUZZ_CHECK(IsProducerId(open.producer()) == !absl::IsInvalidArgument(status));
    if (status.ok()) FUZZ_CHECK(noted.contains(open.producer()));
    if (!status.ok()) CheckRefusal(status);
  }
}

void Update(const std::string& bytes) {
  v1::UpdateSessionRequest request;
  if (!request.ParseFromString(bytes)) return;
  Sessions sessions;
  const auto session = *sessions.registry().Get(kDefaultTenant, "sessions/a");
  const ReconstructionConfig before = session->reconstruction().config();
  if (const absl::Status updated = ApplyUpdate(*session, request); !updated.ok()) {
    CheckRefusal(updated);
    const ReconstructionConfig after = session->reconstruction().config();
    FUZZ_CHECK(after.run.max_iterations == before.run.max_iterations);
    FUZZ_CHECK(after.snapshots.every_iterations == before.snapshots.every_iterations);
  }
  FUZZ_CHECK(Validate(session->reconstruction().config()).empty());
}

void Select(const std::string& bytes) {
  v1::SnapshotSelection request;
  if (!request.ParseFromString(bytes)) return;
  const auto selection = ParseSelection(request);
  if (!selection.ok()) return CheckRefusal(selection.status());
  constexpr Shape kCanvas{6, 7};
  const auto snapshot = std::make_shared<Snapshot>();
  snapshot->canvas = {-2, 3, kCanvas};
  snapshot->scanned = {1, 2, {3, 5}};
  snapshot->object = ComplexStack(1, kCanvas);
  snapshot->probe = ComplexStack(2, {4, 4});
  snapshot->coverage = {kCanvas, std::vector<float>(static_cast<std::size_t>(kCanvas.pixels()))};
  const PreparedSnapshot prepared = Prepare(snapshot, *selection, {});
  FUZZ_CHECK(prepared.arrays.size() == selection->arrays.size());
  for (std::size_t i = 0; i < prepared.arrays.size(); ++i) {
    FUZZ_CHECK(prepared.header.arrays(static_cast<int>(i)).bytes() ==
               static_cast<std::int64_t>(prepared.arrays[i].bytes.size()));
  }
}

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::server;
  static Sessions sessions;
  QuietProtobuf();
  FuzzInput input(data, size);
  switch (input.Below(5)) {
    case 0:
      LookUp(sessions.registry(), input.Rest());
      break;
    case 1: {
      const auto page_size = input.Plain<std::int32_t>();
      ListAll(sessions.registry(), page_size, input.Rest());
      break;
    }
    case 2:
      AttachProducers(&input);
      break;
    case 3:
      Update(input.Rest());
      break;
    default:
      Select(input.Rest());
  }
  return 0;
}
