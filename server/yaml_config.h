#ifndef PTYCHOSERVE_SERVER_YAML_CONFIG_H_
#define PTYCHOSERVE_SERVER_YAML_CONFIG_H_

#include <CLI/CLI.hpp>
#include <istream>
#include <string>
#include <vector>

namespace ptychoserve::server {

// The configuration file: options by their names, without the dashes.
class YamlConfig final : public CLI::Config {
 public:
  // All options that a file can hold, in the order of the help text.
  std::string to_config(const CLI::App* app, bool default_also, bool write_description,
                        std::string prefix) const override;
  // Throws CLI::ConfigError: not YAML, or something deeper than lists of values.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_YAML_CONFIG_H_
