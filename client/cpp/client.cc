#include "client/cpp/client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/internal/array_assembler.h"
#include "client/cpp/internal/identity.h"
#include "client/cpp/internal/resuming_watch.h"
#include "client/cpp/internal/retry.h"
#include "client/cpp/internal/snapshot_assembler.h"
#include "client/cpp/internal/status_conversion.h"
#include "client/cpp/internal/watch_call.h"
#include "client/cpp/internal/writer_impl.h"
#include "engine/base/status_macros.h"
#include "ptychoserve/v1/service.grpc.pb.h"

namespace ptychoserve::client {
namespace {

using internal::FromGrpc;

constexpr char kNamePrefix[] = "sessions/";
constexpr int kPageSize = 1000;

// How a channel connects again.
struct Reconnecting {
  int first_ms;       // Pauses between attempts,
  int most_ms;        // which grow.
  int least_time_ms;  // What gRPC calls the minimal back-off: how long an attempt may take.
};
constexpr Reconnecting kSeldom{500, 2'000, 20'000};
// Writers have a back-off of their own, to which that of the channel should add little.
constexpr Reconnecting kOften{100, 1'000, 5'000};

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, const ClientOptions& options,
                                          const internal::Identity& identity,
                                          const Reconnecting& reconnecting) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options.keepalive_time.count()));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options.keepalive_timeout.count()));
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, reconnecting.first_ms);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, reconnecting.most_ms);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, reconnecting.least_time_ms);
  // Each channel has its own connection; otherwise gRPC shares one among all of a process.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What the server takes is told by the first acknowledgement of a stream.
  args.SetMaxSendMessageSize(-1);
  args.SetMaxReceiveMessageSize(-1);
  if (!identity.server_name().empty()) args.SetSslTargetNameOverride(identity.server_name());
  return grpc::CreateCustomChannel(address, identity.credentials(), args);
}

// What went wrong at the last attempt of a channel that does not connect, which only a call is
// told: nobody listens there, or a certificate is not trusted.
std::string WhyNotConnected(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::ServerInfo info;
  const grpc::Status status = v1::Ptychoserve::NewStub(channel)->GetServerInfo(&context, {}, &info);
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ? ": " + status.error_message() : "";
}

// Gives `take` each chunk; cancels the call when it does not like one.
template <class Chunk, class Take>
absl::Status ReadChunks(grpc::ClientReaderInterface<Chunk>& reader, grpc::ClientContext& context,
                        Take take) {
  Chunk chunk;
  absl::Status taken;
  while (taken.ok() && reader.Read(&chunk)) taken = take(chunk);
  if (!taken.ok()) context.TryCancel();
  const grpc::Status status = reader.Finish();
  return taken.ok() ? FromGrpc(status) : taken;
}

// A watch that lives on in another call when one breaks. `begin` begins a call with a context and a
// reactor; `make_on_message` makes what takes the messages of one call.
template <class Message, class Begin, class MakeOnMessage>
std::unique_ptr<Watch> OpenWatch(Begin begin, MakeOnMessage make_on_message,
                                 std::chrono::milliseconds give_up_after,
                                 internal::ResumingWatch::OnDone on_break,
                                 internal::ResumingWatch::OnDone on_done) {
  auto open = [begin = std::move(begin), make_on_message = std::move(make_on_message)](
                  std::function<void()> alive,
                  internal::ResumingWatch::OnDone done) -> std::unique_ptr<Watch> {
    return std::make_unique<internal::WatchCall<Message>>(
        begin,
        [take = make_on_message(), alive = std::move(alive)](const Message& message) {
          alive();
          return take(message);
        },
        std::move(done));
  };
  return std::make_unique<internal::ResumingWatch>(std::move(open), give_up_after,
                                                   std::move(on_break), std::move(on_done));
}

}  // namespace

std::string SessionName(const std::string& id_or_name) {
  return absl::StartsWith(id_or_name, kNamePrefix) ? id_or_name
                                                   : absl::StrCat(kNamePrefix, id_or_name);
}

struct Client::Impl {
  using Stub = v1::Ptychoserve::Stub;

  // `session`: that it is about, by its name; empty: none. `repeats`: whether the call may be made
  // again when its answer does not come. `timeout` in place of options.unary_deadline.
  template <class Request, class Response>
  absl::StatusOr<Response> Unary(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
                                 const std::string& session, const Request& request,
                                 bool repeats = true,
                                 std::optional<std::chrono::milliseconds> timeout = {}) {
    const std::chrono::milliseconds limit = timeout.value_or(options.unary_deadline);
    Response response;
    const auto attempt = [&]() -> absl::Status {
      grpc::ClientContext context;
      identity->AddTo(context, session);
      context.set_deadline(std::chrono::system_clock::now() + limit);
      return FromGrpc(((*stub).*method)(&context, request, &response));
    };
    PS_RETURN_IF_ERROR(repeats ? Repeat(limit, attempt) : attempt());
    return response;
  }
  absl::Status Repeat(std::chrono::milliseconds limit,
                      const std::function<absl::Status()>& attempt) const {
    return internal::RetryUntil(std::chrono::steady_clock::now() + limit, attempt);
  }

  std::string address;
  ClientOptions options;
  std::shared_ptr<const internal::Identity> identity;
  std::shared_ptr<Stub> stub;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        const ClientOptions& options) {
  PS_ASSIGN_OR_RETURN(auto identity, internal::Identity::Create(address, options.security));
  const std::shared_ptr<grpc::Channel> channel = NewChannel(address, options, *identity, kSeldom);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + options.connect_timeout)) {
    return absl::UnavailableError(absl::StrCat("no server answers at ", address, " within ",
                                               options.connect_timeout.count(), " ms",
                                               WhyNotConnected(channel)));
  }
  auto impl = std::make_unique<Impl>();
  impl->address = address;
  impl->options = options;
  impl->identity = std::move(identity);
  impl->stub = v1::Ptychoserve::NewStub(channel);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

absl::StatusOr<v1::Session> Client::CreateSession(const std::string& session_id,
                                                  const v1::SessionConfig& config,
                                                  bool validate_only) {
  v1::CreateSessionRequest request;
  request.set_session_id(session_id);
  *request.mutable_config() = config;
  request.set_validate_only(validate_only);
  // Without an id, each call makes a session.
  return impl_->Unary(&Impl::Stub::CreateSession, session_id, request,
                      !session_id.empty() || validate_only);
}

absl::StatusOr<v1::Session> Client::GetSession(const std::string& session) {
  v1::GetSessionRequest request;
  request.set_name(SessionName(session));
  return impl_->Unary(&Impl::Stub::GetSession, session, request);
}

absl::StatusOr<std::vector<v1::Session>> Client::ListSessions() {
  std::vector<v1::Session> all;
  v1::ListSessionsRequest request;
  request.set_page_size(kPageSize);
  do {
    PS_ASSIGN_OR_RETURN(v1::ListSessionsResponse page,
                        impl_->Unary(&Impl::Stub::ListSessions, "", request));
    all.insert(all.end(), page.sessions().begin(), page.sessions().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

absl::StatusOr<v1::Session> Client::UpdateSession(const std::string& session,
                                                  const v1::SessionConfig& config,
                                                  const std::vector<std::string>& paths) {
  v1::UpdateSessionRequest request;
  request.mutable_session()->set_name(SessionName(session));
  *request.mutable_session()->mutable_config() = config;
  for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
  return impl_->Unary(&Impl::Stub::UpdateSession, session, request);
}

absl::Status Client::DeleteSession(const std::string& session, bool force) {
  v1::DeleteSessionRequest request;
  request.set_name(SessionName(session));
  request.set_force(force);
  bool repeated = false;
  return impl_->Repeat(impl_->options.unary_deadline, [&, this] {
    const absl::Status status =
        impl_->Unary(&Impl::Stub::DeleteSession, session, request, /*repeats=*/false).status();
    // The answer to an earlier call was lost.
    if (std::exchange(repeated, true) && absl::IsNotFound(status)) return absl::OkStatus();
    return status;
  });
}

absl::StatusOr<v1::Session> Client::FinishScan(const std::string& session) {
  v1::FinishScanRequest request;
  request.set_name(SessionName(session));
  return impl_->Unary(&Impl::Stub::FinishScan, session, request);
}

absl::StatusOr<v1::OrientationTest> Client::TestOrientation(const std::string& session,
                                                            std::chrono::milliseconds timeout) {
  v1::TestOrientationRequest request;
  request.set_name(SessionName(session));
  return impl_->Unary(&Impl::Stub::TestOrientation, session, request, /*repeats=*/true, timeout);
}

absl::StatusOr<v1::Session> Client::StopSession(const std::string& session,
                                                v1::StopSessionRequest::Mode mode) {
  v1::StopSessionRequest request;
  request.set_name(SessionName(session));
  request.set_mode(mode);
  return impl_->Unary(&Impl::Stub::StopSession, session, request);
}

absl::StatusOr<v1::ServerInfo> Client::GetServerInfo() {
  return impl_->Unary(&Impl::Stub::GetServerInfo, "", v1::GetServerInfoRequest());
}

absl::StatusOr<Snapshot> Client::GetSnapshot(const std::string& session,
                                             const v1::SnapshotSelection& selection,
                                             std::int64_t not_newer_than,
                                             std::chrono::milliseconds wait) {
  v1::GetSnapshotRequest request;
  request.set_name(SessionName(session));
  *request.mutable_selection() = selection;
  request.set_not_newer_than(not_newer_than);
  request.set_wait_ms(static_cast<std::uint32_t>(wait.count()));
  std::optional<Snapshot> snapshot;
  const absl::Status got = impl_->Repeat(impl_->options.unary_deadline, [&]() -> absl::Status {
    grpc::ClientContext context;
    impl_->identity->AddTo(context, session);
    context.set_deadline(std::chrono::system_clock::now() + impl_->options.snapshot_deadline +
                         wait);
    internal::SnapshotAssembler assembler;
    PS_RETURN_IF_ERROR(
        ReadChunks(*impl_->stub->GetSnapshot(&context, request), context,
                   [&](const v1::SnapshotChunk& chunk) { return assembler.Add(chunk); }));
    snapshot = assembler.Take();
    return absl::OkStatus();
  });
  PS_RETURN_IF_ERROR(got);
  if (!snapshot.has_value()) return absl::DataLossError("the snapshot ended early");
  return *std::move(snapshot);
}

absl::StatusOr<FrameView> Client::GetFrame(const std::string& session,
                                           std::optional<std::int64_t> frame_id, bool expected) {
  v1::GetFrameRequest request;
  request.set_name(SessionName(session));
  if (frame_id) request.set_frame_id(*frame_id);
  request.set_expected(expected);
  FrameView frame;
  const absl::Status got = impl_->Repeat(impl_->options.unary_deadline, [&]() -> absl::Status {
    grpc::ClientContext context;
    impl_->identity->AddTo(context, session);
    context.set_deadline(std::chrono::system_clock::now() + impl_->options.snapshot_deadline);
    internal::ArrayAssembler arrays("frame");
    PS_RETURN_IF_ERROR(ReadChunks(*impl_->stub->GetFrame(&context, request), context,
                                  [&](const v1::FrameChunk& chunk) {
                                    if (chunk.has_data()) return arrays.Append(chunk.data());
                                    frame.header = chunk.header();
                                    return arrays.Begin(chunk.header().arrays());
                                  }));
    if (arrays.size() == 0 || arrays.missing_bytes() > 0) {
      return absl::DataLossError("the frame ended early");
    }
    if (arrays.size() > 1) PS_RETURN_IF_ERROR(arrays.Get(1, 2, frame.expected));
    return arrays.Get(0, 2, frame.counts);
  });
  PS_RETURN_IF_ERROR(got);
  return frame;
}

std::unique_ptr<Watch> Client::WatchSession(const std::string& session,
                                            std::chrono::milliseconds min_interval,
                                            std::function<void(const v1::SessionEvent&)> on_event,
                                            std::function<void(const absl::Status&)> on_done,
                                            std::function<void(const absl::Status&)> on_break) {
  v1::WatchSessionRequest request;
  request.set_name(SessionName(session));
  request.set_min_interval_ms(static_cast<std::uint32_t>(min_interval.count()));
  return OpenWatch<v1::SessionEvent>(
      [stub = impl_->stub, identity = impl_->identity, session, request](
          grpc::ClientContext* context, auto* reactor) {
        identity->AddTo(*context, session);
        stub->async()->WatchSession(context, &request, reactor);
      },
      [on_event = std::move(on_event)] {
        return [on_event](const v1::SessionEvent& event) {
          on_event(event);
          return absl::OkStatus();
        };
      },
      impl_->options.watch_give_up_after, std::move(on_break), std::move(on_done));
}

std::unique_ptr<Watch> Client::WatchSnapshots(const std::string& session,
                                              const v1::SnapshotSelection& selection,
                                              std::chrono::milliseconds min_interval,
                                              std::function<void(Snapshot)> on_snapshot,
                                              std::function<void(const absl::Status&)> on_done,
                                              std::function<void(const absl::Status&)> on_break) {
  v1::WatchSnapshotsRequest request;
  request.set_name(SessionName(session));
  *request.mutable_selection() = selection;
  request.set_min_interval_ms(static_cast<std::uint32_t>(min_interval.count()));
  return OpenWatch<v1::SnapshotChunk>(
      [stub = impl_->stub, identity = impl_->identity, session, request](
          grpc::ClientContext* context, auto* reactor) {
        identity->AddTo(*context, session);
        stub->async()->WatchSnapshots(context, &request, reactor);
      },
      [on_snapshot = std::move(on_snapshot)] {
        return [on_snapshot, assembler = std::make_shared<internal::SnapshotAssembler>()](
                   const v1::SnapshotChunk& chunk) -> absl::Status {
          PS_RETURN_IF_ERROR(assembler->Add(chunk));
          if (std::optional<Snapshot> snapshot = assembler->Take()) {
            on_snapshot(*std::move(snapshot));
          }
          return absl::OkStatus();
        };
      },
      impl_->options.watch_give_up_after, std::move(on_break), std::move(on_done));
}

absl::Status Client::ExportState(const std::string& session, const ExportOptions& options,
                                 const std::function<absl::Status(std::string_view)>& take) {
  v1::ExportStateRequest request;
  request.set_name(SessionName(session));
  request.set_omit_input(!options.input);
  request.set_omit_run(!options.run);
  grpc::ClientContext context;
  impl_->identity->AddTo(context, session);
  const auto reader = impl_->stub->ExportState(&context, request);
  v1::ExportStateResponse part;
  absl::Status taken;
  while (taken.ok() && reader->Read(&part)) taken = take(part.data());
  if (!taken.ok()) context.TryCancel();
  const absl::Status finished = FromGrpc(reader->Finish());
  return taken.ok() ? finished : taken;
}

absl::StatusOr<v1::Session> Client::ImportState(
    const v1::ImportStart& start, const std::function<absl::StatusOr<std::string>()>& next) {
  grpc::ClientContext context;
  impl_->identity->AddTo(context, start.session_id());
  v1::Session session;
  const auto writer = impl_->stub->ImportState(&context, &session);
  v1::ImportStateRequest request;
  *request.mutable_start() = start;
  // Where a write fails, Finish tells why.
  bool open = writer->Write(request);
  while (open) {
    auto part = next();
    if (!part.ok()) {
      context.TryCancel();
      writer->Finish();
      return part.status();
    }
    if (part->empty()) break;
    request.set_data(*std::move(part));
    open = writer->Write(request);
  }
  writer->WritesDone();
  PS_RETURN_IF_ERROR(FromGrpc(writer->Finish()));
  return session;
}

std::unique_ptr<FrameWriter> Client::OpenFrameWriter(const std::string& session,
                                                     const FrameFormat& format,
                                                     WriterOptions options) {
  auto impl = std::make_unique<FrameWriter::Impl>();
  impl->format = format;
  impl->pool = internal::FramePool::Create(format.raw_bytes());
  impl->writer = internal::IngestWriter<internal::FrameBatching>::Start(
      NewChannel(impl_->address, impl_->options, *impl_->identity, kOften), impl_->identity,
      SessionName(session), internal::FrameBatching(format), std::move(options));
  return std::make_unique<FrameWriter>(std::move(impl));
}

std::unique_ptr<PositionWriter> Client::OpenPositionWriter(const std::string& session,
                                                           WriterOptions options) {
  auto impl = std::make_unique<PositionWriter::Impl>();
  impl->writer = internal::IngestWriter<internal::PositionBatching>::Start(
      NewChannel(impl_->address, impl_->options, *impl_->identity, kOften), impl_->identity,
      SessionName(session), internal::PositionBatching(), std::move(options));
  return std::make_unique<PositionWriter>(std::move(impl));
}

}  // namespace ptychoserve::client
