#ifndef PTYCHOSERVE_TESTS_INTEGRATION_SERVER_TEST_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_SERVER_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "tests/integration/api.h"
#include "tests/integration/input_stream.h"
#include "tests/integration/server_process.h"
#include "tests/integration/test_scan.h"

namespace ptychoserve::integration {

// Tests of one suite share a server; each uses sessions of its own. The server must still be
// there at the end, and end in order.
class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { StartServer({}); }
  static void TearDownTestSuite();
  // For suites that need other flags, from their own SetUpTestSuite.
  static void StartServer(const std::vector<std::string>& flags);
  static ServerProcess& server() { return *server_; }

  void SetUp() override;

  Api& api() { return *api_; }
  // Id and name of a session that no other test uses; `suffix` tells several apart.
  static std::string Id(const std::string& suffix = "");
  static std::string Name(const std::string& suffix = "") {
    return absl::StrCat("sessions/", Id(suffix));
  }
  // Creates the session with that suffix and returns its name.
  std::string Create(const v1::SessionConfig& config, const std::string& suffix = "");
  // Sends all of `scan`, positions first, and has it acknowledged.
  void SendAll(const std::string& name, const TestScan& scan);
  // Creates a session with Config(iterations), sends all of `scan`, waits for the end.
  v1::Session RunScan(const TestScan& scan, int iterations, const std::string& suffix = "");
  // A session that has begun to iterate and will not end by itself.
  std::string StartEndlessSession(const std::string& suffix = "");

 private:
  static std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Api> api_;
};

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_SERVER_TEST_H_
