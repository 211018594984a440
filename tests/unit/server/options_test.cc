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

TEST(Options, CommandLineThenFlagFileThenEnvironment) {
  const std::string path = testing::TempDir() + "/flags.toml";
  std::ofstream(path) << "max-sessions = 7\nthreads = 3\n";
  setenv("PTYCHOSERVED_MAX_SESSIONS", "5", 1);
  setenv("PTYCHOSERVED_INGEST_WORKERS", "6", 1);
  const auto parsed = Parse({"--flagfile", path.c_str(), "--threads", "2"});
  unsetenv("PTYCHOSERVED_MAX_SESSIONS");
  unsetenv("PTYCHOSERVED_INGEST_WORKERS");
  ASSERT_FALSE(parsed.exit);
  EXPECT_EQ(parsed.options.threads, 2);
  EXPECT_EQ(parsed.options.max_sessions, 7);
  EXPECT_EQ(parsed.options.ingest_workers, 6);
}

TEST(Options, UnknownNamesAreErrors) {
  EXPECT_NE(Parse({"--no-such-option"}).exit_code, 0);
  const std::string path = testing::TempDir() + "/bad.toml";
  std::ofstream(path) << "no-such-option = 7\n";
  EXPECT_NE(Parse({"--flagfile", path.c_str()}).exit_code, 0);
  EXPECT_NE(Parse({"--max-sessions", "0"}).exit_code, 0);
}

TEST(Options, OtherMachinesOnlyWhenAskedFor) {
  ServerOptions options;
  for (const char* local : {"127.0.0.1:0", "localhost:5", "[::1]:5", "unix:/tmp/s"}) {
    options.listen = local;
    EXPECT_TRUE(CheckOptions(options).ok()) << local;
  }
  for (const char* open :
       {"0.0.0.0:5", "[::]:5", "10.0.0.1:5", "host.example:5", "127.example.org:5"}) {
    options.listen = open;
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
    options.listen = bad;
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
