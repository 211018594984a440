#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace ptychoserve::server {
namespace {

ParsedOptions Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "ptychoserved");
  return ParseOptions(static_cast<int>(args.size()), args.data());
}

TEST(Options, SizesTakeSuffixes) {
  const auto parsed = Parse({"--staging-bytes", "64MB", "--max-message-bytes=2MB"});
  ASSERT_FALSE(parsed.exit);
  EXPECT_EQ(parsed.options.staging_bytes, 64u << 20);
  EXPECT_EQ(parsed.options.max_message_bytes, 2u << 20);
}

TEST(Options, CommandLineThenFileThenEnvironment) {
  const std::string path = testing::TempDir() + "/options.yaml";
  std::ofstream(path) << "max-sessions: 7\nthreads: 3\nlisten: ['[::1]:0', 'unix:/tmp/s']\n"
                         "staging-bytes: 64MB\nallow-insecure: true\n";
  setenv("PTYCHOSERVED_MAX_SESSIONS", "5", 1);
  setenv("PTYCHOSERVED_INGEST_WORKERS", "6", 1);
  const auto parsed = Parse({"--config", path.c_str(), "--threads", "2"});
  unsetenv("PTYCHOSERVED_MAX_SESSIONS");
  unsetenv("PTYCHOSERVED_INGEST_WORKERS");
  ASSERT_FALSE(parsed.exit);
  EXPECT_EQ(parsed.options.threads, 2);
  EXPECT_EQ(parsed.options.max_sessions, 7);
  EXPECT_EQ(parsed.options.ingest_workers, 6);
  EXPECT_THAT(parsed.options.listen, testing::ElementsAre("[::1]:0", "unix:/tmp/s"));
  EXPECT_EQ(parsed.options.staging_bytes, 64u << 20);
  EXPECT_TRUE(parsed.options.allow_insecure);
}

TEST(Options, SeveralAddresses) {
  EXPECT_THAT(Parse({"--listen", "127.0.0.1:5,unix:/tmp/s"}).options.listen,
              testing::ElementsAre("127.0.0.1:5", "unix:/tmp/s"));
  EXPECT_THAT(Parse({}).options.listen, testing::ElementsAre("127.0.0.1:50051"));
}

TEST(Options, SocketModeIsOctal) {
  EXPECT_EQ(Parse({}).options.socket_mode, 0600u);
  EXPECT_EQ(Parse({"--socket-mode", "660"}).options.socket_mode, 0660u);
  for (const char* bad : {"rw", "888", "7777", ""}) {
    EXPECT_NE(Parse({"--socket-mode", bad}).exit_code, 0) << bad;
  }
}

// What is printed is what can be read, and nothing changes by reading it.
TEST(Options, PrintedConfigurationCanBeReadAgain) {
  const std::string path = testing::TempDir() + "/printed.yaml";
  testing::internal::CaptureStdout();
  const auto printed =
      Parse({"--print-config", "--listen", "127.0.0.1:5,unix:/tmp/s", "--max-sessions", "9"});
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(printed.exit);
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_THAT(text, testing::HasSubstr("max-sessions: 9"));
  std::ofstream(path) << text;
  testing::internal::CaptureStdout();
  const auto again = Parse({"--config", path.c_str(), "--print-config"});
  EXPECT_EQ(testing::internal::GetCapturedStdout(), text);
  EXPECT_EQ(again.exit_code, 0);
}

TEST(Options, UnknownNamesAreErrors) {
  EXPECT_EQ(Parse({"--no-such-option"}).exit_code, 1);
  const std::string path = testing::TempDir() + "/bad.yaml";
  for (const char* bad : {"no-such-option: 7\n", "max-sessions: {a: 7}\n", "- max-sessions\n",
                          "max-sessions: [\n", "print-config: true\n"}) {
    std::ofstream(path) << bad;
    EXPECT_EQ(Parse({"--config", path.c_str()}).exit_code, 1) << bad;
  }
  EXPECT_NE(Parse({"--config", "/nowhere.yaml"}).exit_code, 0);
  EXPECT_NE(Parse({"--max-sessions", "0"}).exit_code, 0);
}

TEST(Options, OtherMachinesOnlyWhenAskedFor) {
  ServerOptions options;
  for (const char* local : {"127.0.0.1:0", "localhost:5", "[::1]:5", "unix:/tmp/s"}) {
    options.listen = {local};
    EXPECT_TRUE(CheckOptions(options).ok()) << local;
  }
  for (const char* open :
       {"0.0.0.0:5", "[::]:5", "10.0.0.1:5", "host.example:5", "127.example.org:5"}) {
    options.listen = {open};
    options.allow_insecure = false;
    EXPECT_THAT(std::string(CheckOptions(options).message()),
                testing::HasSubstr("--allow-insecure"))
        << open;
    options.allow_insecure = true;
    EXPECT_TRUE(CheckOptions(options).ok()) << open;
  }
}

TEST(Options, AddressAndDeviceAreChecked) {
  ServerOptions options;
  options.allow_insecure = true;
  for (const char* bad : {"127.0.0.1", ":5", "::1:5", "127.0.0.1:65536", "127.0.0.1:x"}) {
    options.listen = {bad};
    EXPECT_FALSE(CheckOptions(options).ok()) << bad;
  }
  options = {};
  for (const char* bad : {"gpu", "cuda:", "cuda:x", "cuda:-1"}) {
    options.device = bad;
    EXPECT_FALSE(CheckOptions(options).ok()) << bad;
  }
  options.device = "cuda:3";
  EXPECT_TRUE(CheckOptions(options).ok());
}

}  // namespace
}  // namespace ptychoserve::server
