// Commands that are programs of their own, in Python: `ptychoctl replay ...` becomes
// `ptychoserve-replay ...`, as `git` does it.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/output.h"

namespace ptychoserve::cli {
namespace {

struct External {
  const char* name;
  const char* program;
  std::vector<std::string> first;  // Arguments before those that are given.
  const char* description;
};

const std::vector<External>& Externals() {
  static const auto& all = *new std::vector<External>{
      {"bridge", "ptychoserve-bridge", {"run"}, "Feed sessions from an Eiger and a PandA"},
      {"emulate",
       "ptychoserve-bridge",
       {"emulate"},
       "Publish a scan file as an Eiger or a PandA would"},
      {"replay", "ptychoserve-replay", {}, "Push a recorded scan as if it was being measured"},
      {"watch-files", "ptychoserve-watch", {}, "Feed sessions from files that are being written"},
      {"doctor", "ptychoserve-doctor", {}, "Check server, network and sources, with what to do"},
      {"dashboard",
       "ptychoserve-dashboard",
       {},
       "Serve a web page that shows what the server does"},
  };
  return all;
}

// Replaces this process. Returns when that does not work.
absl::Status Become(const External& external, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {external.program};
  words.insert(words.end(), external.first.begin(), external.first.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // What its help and errors call it.
  setenv("PTYCHOSERVE_PROGRAM", absl::StrCat("ptychoctl ", external.name).c_str(), 1);

  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  execv((self.parent_path() / external.program).c_str(), argv.data());
  execvp(external.program, argv.data());
  return absl::NotFoundError(absl::StrCat(
      external.program, ": ", std::strerror(errno), "; ptychoctl ", external.name,
      " is part of the Python package ptychoserve: install it, so that the program is beside "
      "ptychoctl or in PATH"));
}

}  // namespace

void AddExternals(CLI::App& app, Context& context) {
  for (const External& external : Externals()) {
    CLI::App* command = app.add_subcommand(external.name, external.description);
    command->prefix_command();   // All arguments are the program's,
    command->set_help_flag("");  // --help included.
    command->callback([command, &external, &context] {
      const absl::Status status = Become(external, command->remaining());
      context.exit_code = ReportError(status, context.json);
    });
  }
}

}  // namespace ptychoserve::cli
