#include "server/telemetry/http_endpoint.h"

#include <httplib.h>
#include <prometheus/text_serializer.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/base/address.h"

namespace ptychoserve::server {
namespace {

constexpr int kThreads = 2;
constexpr int kTimeoutS = 5;
constexpr std::size_t kMaxBodyBytes = 1024;
constexpr int kUnavailable = 503;
// The version of the text format that is written.
constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

void Answer(const absl::Status& status, httplib::Response& response) {
  if (status.ok()) return response.set_content("ok\n", "text/plain");
  response.status = kUnavailable;
  response.set_content(absl::StrCat(status.message(), "\n"), "text/plain");
}

}  // namespace

class HttpEndpoint::Impl {
 public:
  explicit Impl(Sources sources) : sources_(std::move(sources)) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kTimeoutS);
    server_.set_write_timeout(kTimeoutS);
    server_.set_payload_max_length(kMaxBodyBytes);
    server_.Get("/healthz", [this](const httplib::Request&, httplib::Response& response) {
      Answer(sources_.healthy(), response);
    });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      Answer(sources_.ready(), response);
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(Metrics(), kMetricsType);
    });
  }
  ~Impl() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  // The port; negative when there is none.
  int Bind(const std::string& host, int port) {
    if (port == 0) return server_.bind_to_any_port(host.c_str());
    return server_.bind_to_port(host.c_str(), port) ? port : -1;
  }
  void Run() {
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // Otherwise stop() would be missed.
  }

 private:
  std::string Metrics() const {
    std::vector<prometheus::MetricFamily> all;
    for (const auto& source : sources_.metrics) {
      for (auto& family : source->Collect()) all.push_back(std::move(family));
    }
    return prometheus::TextSerializer().Serialize(all);
  }

  const Sources sources_;
  httplib::Server server_;
  std::thread thread_;
};

HttpEndpoint::HttpEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpEndpoint::~HttpEndpoint() = default;

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(const std::string& address,
                                                                  Sources sources) {
  PS_ASSIGN_OR_RETURN(const HostPort wanted, ParseHostPort(address));
  auto impl = std::make_unique<Impl>(std::move(sources));
  const int port = impl->Bind(wanted.host, wanted.port);
  if (port <= 0) {
    return absl::UnavailableError(absl::StrCat("--metrics-listen: cannot listen on ", address,
                                               ": the address is in use, or not of this machine"));
  }
  impl->Run();
  std::unique_ptr<HttpEndpoint> endpoint(new HttpEndpoint(std::move(impl)));
  endpoint->address_ = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return endpoint;
}

}  // namespace ptychoserve::server
