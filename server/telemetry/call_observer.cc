#include "server/telemetry/call_observer.h"

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/strip.h"
#include "server/base/call_metadata.h"
#include "server/security/method.h"
#include "server/service/errors.h"
#include "server/telemetry/trace_context.h"

namespace ptychoserve::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using grpc::experimental::InterceptionHookPoints;

constexpr std::size_t kMaxSessionBytes = 100;  // Of what a caller calls it.

// What a request names: "name", "session_id", or the like of the session or the start in it.
std::string SessionOf(const Message& request) {
  for (const char* key : {"name", "session_id", "session", "start"}) {
    const FieldDescriptor* field = request.GetDescriptor()->FindFieldByName(key);
    if (field == nullptr || field->is_repeated()) continue;
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      return request.GetReflection()->GetString(request, field);
    }
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      return SessionOf(request.GetReflection()->GetMessage(request, field));
    }
  }
  return "";
}

// Messages of the input streams come as bytes; the metadata says which session they are for.
bool IsRaw(Method method) {
  return method == Method::kStreamFrames || method == Method::kStreamPositions;
}

class Observed final : public grpc::experimental::Interceptor {
 public:
  Observed(const MethodRule& rule, grpc::ServerContextBase* context, Metrics& metrics,
           const Access& access, AuditLog& audit)
      : rule_(rule), context_(context), metrics_(metrics), access_(access), audit_(audit) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      NoteRequest(batch->GetRecvMessage());
    }
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      NoteEnd(batch->GetSendStatus());
    }
    batch->Proceed();
  }

 private:
  void NoteRequest(const void* request) {
    if (request == nullptr || session_ || !rule_.changes || IsRaw(rule_.method)) return;
    session_ = SessionOf(*static_cast<const Message*>(request));
  }

  void NoteEnd(const grpc::Status& status) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
    const std::string code =
        absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
    metrics_.ObserveCall(std::string(rule_.name), code, seconds.count());
    if (!rule_.changes) return;
    const std::string named =
        session_.value_or(std::string(MetadataOf(*context_, "ptychoserve-session")));
    const std::optional<Caller> caller = access_.WhoCalls(*context_);
    audit_.Write({{"method", rule_.name},
                  {"session", Cut(absl::StripPrefix(named, "sessions/"), kMaxSessionBytes)},
                  {"tenant", caller ? caller->tenant : ""},
                  {"caller", caller ? caller->name : ""},
                  {"peer", context_->peer()},
                  {"trace", TraceIdOf(MetadataOf(*context_, "traceparent"))},
                  {"code", code},
                  {"seconds", seconds.count()}});
  }

  const MethodRule& rule_;
  grpc::ServerContextBase* const context_;
  Metrics& metrics_;
  const Access& access_;
  AuditLog& audit_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<std::string> session_;  // Once there is a request.
};

}  // namespace

grpc::experimental::Interceptor* CallObserver::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  const MethodRule* rule = RuleOfPath(info->method());
  if (rule == nullptr) return nullptr;
  return new Observed(*rule, info->server_context(), metrics_, access_, audit_);
}

}  // namespace ptychoserve::server
