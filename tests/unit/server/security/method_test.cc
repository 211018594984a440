#include "server/security/method.h"

#include <gtest/gtest.h>

#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "ptychoserve/v1/service.pb.h"

namespace ptychoserve::server {
namespace {

// A method that is added to the proto file has no rule, and nobody could call it.
TEST(MethodRules, EachMethodOfTheServiceHasOne) {
  const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      "ptychoserve.v1.Ptychoserve");
  ASSERT_NE(service, nullptr);
  ASSERT_EQ(service->method_count(), static_cast<int>(std::size(kMethodRules)));
  for (int k = 0; k < service->method_count(); ++k) {
    const std::string name = service->method(k)->name();
    const MethodRule* rule = RuleOfPath(absl::StrCat("/ptychoserve.v1.Ptychoserve/", name));
    ASSERT_NE(rule, nullptr) << name;
    EXPECT_EQ(rule->name, name);
    EXPECT_EQ(&RuleOf(rule->method), rule) << name << " is not in the order of the enumeration";
    EXPECT_TRUE(!rule->changes || rule->least > Role::kViewer) << name << ": a viewer changes";
  }
  EXPECT_EQ(RuleOfPath("/grpc.health.v1.Health/Check"), nullptr);
  EXPECT_EQ(RuleOfPath("/ptychoserve.v1.Ptychoserve/getSession"), nullptr);
}

}  // namespace
}  // namespace ptychoserve::server
