#ifndef PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_SERVICE_H_
#define PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_SERVICE_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ptychoserve/v1/service.grpc.pb.h"

namespace ptychoserve::client {

// A service within the process whose answers a test sets. What is not set is UNIMPLEMENTED.
class FakeService final : public v1::Ptychoserve::Service {
 public:
  using FrameStream = grpc::ServerReaderWriter<v1::IngestAck, v1::StreamFramesRequest>;
  using PositionStream = grpc::ServerReaderWriter<v1::IngestAck, v1::StreamPositionsRequest>;

  std::function<grpc::Status(FrameStream*)> frames;
  std::function<grpc::Status(PositionStream*)> positions;
  std::function<grpc::Status(const v1::GetSessionRequest&, v1::Session*)> get_session;
  std::function<grpc::Status(const v1::ListSessionsRequest&, v1::ListSessionsResponse*)> list;
  std::function<grpc::Status(grpc::ServerWriter<v1::SnapshotChunk>*)> snapshot;
  std::function<grpc::Status(grpc::ServerContext*, grpc::ServerWriter<v1::SessionEvent>*)> watch;

  // Port 0: any that is free. `prepare` sets answers before the first call can come.
  explicit FakeService(int port = 0, const std::function<void(FakeService&)>& prepare = {}) {
    if (prepare) prepare(*this);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port_);
  }
  ~FakeService() override { server_->Shutdown(std::chrono::system_clock::now()); }
  const std::string& address() const { return address_; }
  int port() const { return port_; }

  grpc::Status StreamFrames(grpc::ServerContext*, FrameStream* stream) override {
    return frames ? frames(stream) : Missing();
  }
  grpc::Status StreamPositions(grpc::ServerContext*, PositionStream* stream) override {
    return positions ? positions(stream) : Missing();
  }
  grpc::Status GetSession(grpc::ServerContext*, const v1::GetSessionRequest* request,
                          v1::Session* response) override {
    return get_session ? get_session(*request, response) : Missing();
  }
  grpc::Status ListSessions(grpc::ServerContext*, const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override {
    return list ? list(*request, response) : Missing();
  }
  grpc::Status GetSnapshot(grpc::ServerContext*, const v1::GetSnapshotRequest*,
                           grpc::ServerWriter<v1::SnapshotChunk>* writer) override {
    return snapshot ? snapshot(writer) : Missing();
  }
  grpc::Status WatchSession(grpc::ServerContext* context, const v1::WatchSessionRequest*,
                            grpc::ServerWriter<v1::SessionEvent>* writer) override {
    return watch ? watch(context, writer) : Missing();
  }

 private:
  static grpc::Status Missing() { return {grpc::StatusCode::UNIMPLEMENTED, "not in this test"}; }
  int port_ = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_SERVICE_H_
