#include "tests/integration/api.h"

#include <grpcpp/generic/generic_stub.h>

#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cpp/internal/snapshot_assembler.h"

namespace ptychoserve::integration {
namespace {

constexpr std::chrono::milliseconds kPoll{10};
constexpr int kMaxReceiveBytes = 64 << 20;

// While no call is under way, a client looks at its connection this often only: a server that shuts
// down would wait for its answer.
const int kFastBackupPoll = setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "20", 1);

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  EXPECT_EQ(kFastBackupPoll, 0);
  grpc::ChannelArguments arguments;
  // Not shared with other channels of the process: each has its own connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // The window of a stream stays at 64 KiB: what a reader that does not read leaves with the server
  // depends on no speed.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  return context;
}

bool IsFinal(v1::SessionState state) { return state >= v1::SESSION_STATE_COMPLETED; }

Api::Api(const std::string& address)
    : channel_(Connect(address)), stub_(v1::Ptychoserve::NewStub(channel_)) {}

Result<v1::Session> Api::Create(const std::string& id, const v1::SessionConfig& config,
                                bool validate_only) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  *request.mutable_config() = config;
  request.set_validate_only(validate_only);
  Result<v1::Session> out;
  out.status = stub_->CreateSession(Context().get(), request, &out.value);
  return out;
}

Result<v1::Session> Api::Get(const std::string& name) {
  v1::GetSessionRequest request;
  request.set_name(name);
  Result<v1::Session> out;
  out.status = stub_->GetSession(Context().get(), request, &out.value);
  return out;
}

Result<v1::ListSessionsResponse> Api::List(int page_size, const std::string& page_token) {
  v1::ListSessionsRequest request;
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  Result<v1::ListSessionsResponse> out;
  out.status = stub_->ListSessions(Context().get(), request, &out.value);
  return out;
}

Result<v1::Session> Api::Update(const std::string& name, const std::vector<std::string>& paths,
                                const std::function<void(v1::SessionConfig&)>& change) {
  v1::UpdateSessionRequest request;
  *request.mutable_session() = Get(name).value;
  request.mutable_session()->set_name(name);
  change(*request.mutable_session()->mutable_config());
  for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
  Result<v1::Session> out;
  out.status = stub_->UpdateSession(Context().get(), request, &out.value);
  return out;
}

grpc::Status Api::Delete(const std::string& name, bool force) {
  v1::DeleteSessionRequest request;
  request.set_name(name);
  request.set_force(force);
  v1::DeleteSessionResponse response;
  return stub_->DeleteSession(Context().get(), request, &response);
}

Result<v1::Session> Api::Finish(const std::string& name) {
  v1::FinishScanRequest request;
  request.set_name(name);
  Result<v1::Session> out;
  out.status = stub_->FinishScan(Context().get(), request, &out.value);
  return out;
}

Result<v1::OrientationTest> Api::TestOrientation(const std::string& name,
                                                 std::chrono::milliseconds timeout) {
  v1::TestOrientationRequest request;
  request.set_name(name);
  Result<v1::OrientationTest> out;
  const auto context = Context();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  out.status = stub_->TestOrientation(context.get(), request, &out.value);
  return out;
}

Result<v1::Session> Api::Stop(const std::string& name, v1::StopSessionRequest::Mode mode) {
  v1::StopSessionRequest request;
  request.set_name(name);
  request.set_mode(mode);
  Result<v1::Session> out;
  out.status = stub_->StopSession(Context().get(), request, &out.value);
  return out;
}

Result<v1::ServerInfo> Api::Info() {
  Result<v1::ServerInfo> out;
  out.status = stub_->GetServerInfo(Context().get(), {}, &out.value);
  return out;
}

Result<client::Snapshot> Api::Snapshot(const v1::GetSnapshotRequest& request) {
  const auto context = Context();
  const auto reader = stub_->GetSnapshot(context.get(), request);
  client::internal::SnapshotAssembler assembler;
  Result<client::Snapshot> out;
  v1::SnapshotChunk chunk;
  while (reader->Read(&chunk)) {
    const absl::Status added = assembler.Add(chunk);
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  out.status = reader->Finish();
  auto snapshot = assembler.Take();
  EXPECT_EQ(snapshot.has_value(), out.ok()) << "incomplete";
  if (snapshot.has_value()) out.value = *std::move(snapshot);
  return out;
}

Result<client::Snapshot> Api::Snapshot(const std::string& name) {
  v1::GetSnapshotRequest request;
  request.set_name(name);
  return Snapshot(request);
}

Result<client::FrameView> Api::Frame(const v1::GetFrameRequest& request) {
  const auto context = Context();
  const auto reader = stub_->GetFrame(context.get(), request);
  client::internal::ArrayAssembler arrays("frame");
  Result<client::FrameView> out;
  v1::FrameChunk chunk;
  while (reader->Read(&chunk)) {
    if (chunk.has_header()) out.value.header = chunk.header();
    const absl::Status added =
        chunk.has_header() ? arrays.Begin(chunk.header().arrays()) : arrays.Append(chunk.data());
    EXPECT_TRUE(added.ok()) << added.ToString();
  }
  out.status = reader->Finish();
  EXPECT_EQ(arrays.missing_bytes(), 0);
  if (arrays.size() > 0) {
    EXPECT_TRUE(arrays.Get(0, 2, out.value.counts).ok());
  }
  if (arrays.size() > 1) {
    EXPECT_TRUE(arrays.Get(1, 2, out.value.expected).ok());
  }
  return out;
}

Result<v1::Session> Api::Await(const std::string& name,
                               const std::function<bool(const v1::Session&)>& done) {
  const auto deadline = std::chrono::steady_clock::now() + kCallDeadline;
  Result<v1::Session> out = Get(name);
  while (out.ok() && !done(out.value)) {
    if (std::chrono::steady_clock::now() > deadline) {
      out.value.clear_config();
      ADD_FAILURE() << "waited in vain; the session is " << out.value.ShortDebugString();
      break;
    }
    std::this_thread::sleep_for(kPoll);
    out = Get(name);
  }
  EXPECT_TRUE(out.ok()) << Describe(out.status);
  return out;
}

Result<v1::Session> Api::AwaitEnd(const std::string& name) {
  return Await(name, [](const v1::Session& s) { return IsFinal(s.state()); });
}

Result<std::vector<std::string>> RawCall(Api& api, const std::string& method,
                                         const std::vector<std::string>& messages) {
  grpc::GenericStub stub(api.channel());
  grpc::CompletionQueue queue;
  const auto context = Context();
  const auto call = stub.PrepareCall(context.get(), method, &queue);
  // One operation at a time: each puts one event into the queue.
  const auto done = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  Result<std::vector<std::string>> out;
  call->StartCall(nullptr);
  bool open = done();
  for (const std::string& message : messages) {
    const grpc::Slice slice(message);
    if (open) call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    open = open && done();
  }
  if (open) {
    call->WritesDone(nullptr);
    done();
  }
  grpc::ByteBuffer answer;
  for (call->Read(&answer, nullptr); done(); call->Read(&answer, nullptr)) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(answer.Dump(&slices).ok());
    std::string& bytes = out.value.emplace_back();
    for (const grpc::Slice& s : slices) {
      bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
    }
  }
  call->Finish(&out.status, nullptr);
  done();
  queue.Shutdown();
  return out;
}

std::string Describe(const grpc::Status& status) {
  if (status.ok()) return "OK";
  const client::ErrorDetails details = DetailsOf(status);
  std::string out = absl::StrCat("code ", static_cast<int>(status.error_code()), ", reason '",
                                 details.reason, "', message '", status.error_message(), "'");
  for (const auto& v : details.field_violations) {
    absl::StrAppend(&out, ", field '", v.field, "': ", v.description);
  }
  return out;
}

v1::Rejection RejectionOf(const v1::IngestCounters& counters, v1::RejectReason reason) {
  for (const auto& r : counters.rejections()) {
    if (r.reason() == reason) return r;
  }
  return {};
}

testing::AssertionResult AddsUp(const v1::IngestCounters& counters) {
  std::int64_t sum = counters.accepted();
  for (const auto& r : counters.rejections()) sum += r.count();
  if (sum == counters.received()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << counters.ShortDebugString();
}

std::int64_t Rejected(const v1::IngestCounters& counters, v1::RejectReason reason) {
  return RejectionOf(counters, reason).count();
}

}  // namespace ptychoserve::integration
