#ifndef PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEMPORARY_DIRECTORY_H_
#define PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace ptychoserve::client {

// An empty directory that goes with this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "spool_test_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Names of the files, in order.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      files.push_back(entry.path().filename());
    }
    std::ranges::sort(files);
    return files;
  }

 private:
  std::string path_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_TEMPORARY_DIRECTORY_H_
