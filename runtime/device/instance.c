/* The Vulkan loader, instances, and the validation layers with their messages. */
#include "runtime/device/vulkan_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

/* VK_EXT_layer_settings, which Debian 12's Vulkan headers do not have yet. */
#ifndef VK_EXT_layer_settings
#define VK_EXT_LAYER_SETTINGS_EXTENSION_NAME             "VK_EXT_layer_settings"
#define VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT ((VkStructureType)1000496000)
typedef enum VkLayerSettingTypeEXT { VK_LAYER_SETTING_TYPE_BOOL32_EXT = 0 } VkLayerSettingTypeEXT;
typedef struct VkLayerSettingEXT {
    const char *pLayerName;
    const char *pSettingName;
    VkLayerSettingTypeEXT type;
    uint32_t valueCount;
    const void *pValues;
} VkLayerSettingEXT;
typedef struct VkLayerSettingsCreateInfoEXT {
    VkStructureType sType;
    const void *pNext;
    uint32_t settingCount;
    const VkLayerSettingEXT *pSettings;
} VkLayerSettingsCreateInfoEXT;
#endif

/* What Debian 12's layer (1.3.239) understands in its place: a draft of that extension, which was never in the Vulkan
 * headers and had another structure in other versions, so only that version is given it. The only way, short of the
 * environment, to turn on its search for hazards between submissions. */
#define STRUCTURE_TYPE_DRAFT_LAYER_SETTINGS ((VkStructureType)0x7ffffffe)
#define DRAFT_LAYER_VERSION                 VK_MAKE_API_VERSION(0, 1, 3, 239)
enum { DRAFT_STRING_ARRAY = 8 };
typedef struct draft_setting {
    char name[VK_MAX_EXTENSION_NAME_SIZE];
    int type;
    union {
        struct {
            const char *text;
            uint32_t count;
        } string;
        uint64_t number;
    } data;
} draft_setting;
typedef struct draft_settings {
    VkStructureType type;
    const void *next;
    uint32_t count;
    const draft_setting *settings;
} draft_settings;

/* ---- messages -------------------------------------------------------------------------------- */

void message_log(const message_sink *sink, tuff_log_level level, const char *text) {
    if (sink->log) sink->log(sink->log_user, level, text);
}

/* Messages that are no fault, each with its reason: they are logged, not counted. */
static bool is_notice(const char *text) {
    static const char *const notices[] = {
        /* GPU-assisted validation says that it will not check buffer device addresses; Tuff uses none. */
        "No buffer device address checking will be attempted",
        /* The layer turns features on that it instruments shaders with, and checks off that the device cannot have. */
        "validation is adjusting settings",
        /* It advises against checking everything at once. */
        "Information with the layer settings provided",
        /* what GPU-assisted validation turns on for itself, and that it is slow */
        "Both GPU Assisted Validation and Normal Core Check Validation are enabled",
        "Internal Warning: Setting VkPhysicalDevice",
        "Internal Warning: Forcing VkPhysicalDevice",
        "Ray Query validation option was enabled, but",
    };
    for (uint32_t i = 0; i < COUNT_OF(notices); i++)
        if (strstr(text, notices[i])) return true;
    return false;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL receive_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                      VkDebugUtilsMessageTypeFlagsEXT types,
                                                      const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
    message_sink *sink = user;
    const char *text = data->pMessage ? data->pMessage : "";
    if (is_notice(text)) {
        message_log(sink, TUFF_LOG_INFO, text);
        return VK_FALSE;
    }
    /* GENERAL messages are the loader's, about drivers and layers it finds on the machine, not about Tuff's use of
     * Vulkan: they are passed on but not counted. */
    if (types & (VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT))
        atomic_fetch_add(&sink->validation_messages, 1);
    bool error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    /* The newer layers leave the message's name ("SYNC-HAZARD-...", "VUID-...") out of its text. */
    const char *name = data->pMessageIdName;
    char *named = name && !strstr(text, name) ? malloc(strlen(name) + strlen(text) + 3) : NULL;
    if (named) sprintf(named, "%s: %s", name, text);
    message_log(sink, error ? TUFF_LOG_ERROR : TUFF_LOG_WARNING, named ? named : text);
    free(named);
    return VK_FALSE;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(message_sink *sink) {
    return (VkDebugUtilsMessengerCreateInfoEXT){
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT
                       | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = receive_message,
        .pUserData = sink,
    };
}

tuff_result validation_resolve(tuff_validation asked, tuff_validation *resolved) {
    *resolved = asked;
    if ((unsigned)asked > TUFF_VALIDATION_GPU)
        return error_set(TUFF_ERROR_ARGUMENT, "desc.validation is %d, which is no tuff_validation", (int)asked);
    if (asked != TUFF_VALIDATION_DEFAULT) return TUFF_OK;
    const char *text = getenv("TUFF_VALIDATION");
    if (!text || !*text || strcmp(text, "0") == 0)
        *resolved = TUFF_VALIDATION_OFF;
    else if (strcmp(text, "1") == 0)
        *resolved = TUFF_VALIDATION_ON;
    else if (strcmp(text, "gpu") == 0)
        *resolved = TUFF_VALIDATION_GPU;
    else
        return error_set(TUFF_ERROR_ARGUMENT,
                         "TUFF_VALIDATION is \"%s\"; it may be 0 (off), 1 (the Khronos layer with "
                         "synchronization validation) or gpu (GPU-assisted validation too)",
                         text);
    return TUFF_OK;
}

/* ---- the loader ------------------------------------------------------------------------------ */

#define NO_DRIVER_ADVICE                                                                                               \
    "install the driver of your GPU, or the package mesa-vulkan-drivers, which also brings lavapipe, a driver that "   \
    "runs on the CPU (Debian and Ubuntu: apt-get install mesa-vulkan-drivers)"

static tuff_result loader_open(vulkan_globals *globals) {
    /* Never closed: drivers leave threads and thread-local data behind, and another device may use it. */
    void *module = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!module) module = dlopen("libvulkan.so", RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return error_set(TUFF_ERROR_NO_DRIVER, "the Vulkan loader libvulkan.so.1 cannot be opened: %s",
                         NO_DRIVER_ADVICE);
    void *symbol = dlsym(module, "vkGetInstanceProcAddr");
    if (!symbol)
        return error_set(TUFF_ERROR_NO_DRIVER,
                         "libvulkan.so.1 is no Vulkan loader (it has no vkGetInstanceProcAddr): %s", NO_DRIVER_ADVICE);
    memcpy(&globals->get_instance_proc_addr, &symbol, sizeof symbol);
#define LOAD_FUNCTION(name)                                                                                            \
    globals->name = (PFN_vk##name)globals->get_instance_proc_addr(NULL, "vk" #name);                                   \
    if (!globals->name) return error_set(TUFF_ERROR_NO_DRIVER, "the Vulkan loader lacks vk" #name);
    VULKAN_GLOBAL_FUNCTIONS(LOAD_FUNCTION)
#undef LOAD_FUNCTION
    return TUFF_OK;
}

/* The extension's version, 0 without it. layer NULL: of the loader and the drivers. */
static uint32_t extension_version(const vulkan_globals *globals, const char *layer, const char *name) {
    uint32_t count = 0, version = 0;
    if (globals->EnumerateInstanceExtensionProperties(layer, &count, NULL) != VK_SUCCESS || count == 0) return 0;
    VkExtensionProperties *list = calloc(count, sizeof *list);
    if (!list) return 0;
    if (globals->EnumerateInstanceExtensionProperties(layer, &count, list) >= VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            if (strcmp(list[i].extensionName, name) == 0) version = list[i].specVersion ? list[i].specVersion : 1;
    free(list);
    return version;
}

/* The Vulkan version that a layer was made for, 0 without the layer. */
static uint32_t layer_version(const vulkan_globals *globals, const char *name) {
    uint32_t count = 0, version = 0;
    if (globals->EnumerateInstanceLayerProperties(&count, NULL) != VK_SUCCESS || count == 0) return 0;
    VkLayerProperties *list = calloc(count, sizeof *list);
    if (!list) return 0;
    if (globals->EnumerateInstanceLayerProperties(&count, list) >= VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            if (strcmp(list[i].layerName, name) == 0) version = list[i].specVersion;
    free(list);
    return version;
}

static tuff_result load_instance_functions(vulkan_instance *instance) {
#define LOAD_FUNCTION(name)                                                                                            \
    instance->name = (PFN_vk##name)instance->get_instance_proc_addr(instance->handle, "vk" #name);                     \
    if (!instance->name)                                                                                               \
        return error_set(TUFF_ERROR_NO_DRIVER,                                                                         \
                         "the Vulkan instance lacks vk" #name "; Tuff needs one of version 1.1 or later");
    VULKAN_INSTANCE_FUNCTIONS(LOAD_FUNCTION)
#undef LOAD_FUNCTION
    if (!instance->debug_utils) return TUFF_OK;
#define LOAD_FUNCTION(name)                                                                                            \
    instance->name = (PFN_vk##name)instance->get_instance_proc_addr(instance->handle, "vk" #name);
    VULKAN_DEBUG_FUNCTIONS(LOAD_FUNCTION)
#undef LOAD_FUNCTION
    return TUFF_OK;
}

/* ---- instances ------------------------------------------------------------------------------- */

tuff_result instance_create(vulkan_instance *instance, tuff_validation validation) {
    vulkan_globals globals;
    TRY(loader_open(&globals));
    instance->get_instance_proc_addr = globals.get_instance_proc_addr;
    instance->validation = validation;
    instance->api_version = VK_API_VERSION_1_3; /* the highest that Tuff knows; a device may have less, down to 1.2 */
    bool validate = validation != TUFF_VALIDATION_OFF;
    uint32_t layer = validate ? layer_version(&globals, VALIDATION_LAYER) : 0;
    if (validate && !layer)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "validation was asked for, but the Khronos layer is not installed: install "
                         "the package vulkan-validationlayers (Debian 12 and older: vulkan-validationlayers too), or "
                         "unset TUFF_VALIDATION");

    const char *extensions[4];
    uint32_t extension_count = 0;
    VkInstanceCreateFlags flags = 0;
    instance->debug_utils =
        extension_version(&globals, NULL, VK_EXT_DEBUG_UTILS_EXTENSION_NAME) > 0
        || (validate && extension_version(&globals, VALIDATION_LAYER, VK_EXT_DEBUG_UTILS_EXTENSION_NAME));
    if (instance->debug_utils) extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
#ifdef VK_KHR_portability_enumeration
    /* Drivers that are not quite Vulkan, such as MoltenVK, show up only when asked for. */
    if (extension_version(&globals, NULL, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
        extensions[extension_count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
#endif

    const void *chain = NULL;
    const VkBool32 yes = VK_TRUE;
    const VkLayerSettingEXT settings[] = {
        /* without it the layer does not look at what shaders access */
        { VALIDATION_LAYER, "syncval_shader_accesses_heuristic", VK_LAYER_SETTING_TYPE_BOOL32_EXT, 1, &yes },
    };
    const VkLayerSettingsCreateInfoEXT settings_info = {
        .sType = VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT,
        .settingCount = COUNT_OF(settings),
        .pSettings = settings,
    };
    static const char queue_submit[] = "VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT";
    const draft_setting draft[] = {
        { .name = "enables", .type = DRAFT_STRING_ARRAY, .data.string = { queue_submit, sizeof queue_submit - 1 } }
    };
    const draft_settings draft_info = { STRUCTURE_TYPE_DRAFT_LAYER_SETTINGS, NULL, COUNT_OF(draft), draft };
    const VkValidationFeatureEnableEXT enables[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
    };
    VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .enabledValidationFeatureCount = validation == TUFF_VALIDATION_GPU ? 3 : 1,
        .pEnabledValidationFeatures = enables,
    };
    VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(&instance->sink);
    if (validate) {
        if (extension_version(&globals, VALIDATION_LAYER, VK_EXT_LAYER_SETTINGS_EXTENSION_NAME) >= 2) {
            extensions[extension_count++] = VK_EXT_LAYER_SETTINGS_EXTENSION_NAME;
            chain = &settings_info;
        } else if (layer == DRAFT_LAYER_VERSION) {
            chain = &draft_info;
        }
        if (extension_version(&globals, VALIDATION_LAYER, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME))
            extensions[extension_count++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
        features.pNext = chain;
        chain = &features;
        if (instance->debug_utils) {
            messenger.pNext = chain;
            chain = &messenger;
        }
    }

    const char *layers[] = { VALIDATION_LAYER };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "Tuff",
        .pEngineName = "Tuff",
        .engineVersion = VK_MAKE_API_VERSION(0, TUFF_VERSION_MAJOR, TUFF_VERSION_MINOR, TUFF_VERSION_PATCH),
        .apiVersion = instance->api_version,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = chain,
        .flags = flags,
        .pApplicationInfo = &application,
        .enabledLayerCount = validate ? 1 : 0,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = globals.CreateInstance(&info, NULL, &instance->handle);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return error_set(TUFF_ERROR_NO_DRIVER, "no Vulkan driver was found: %s", NO_DRIVER_ADVICE);
    if (result != VK_SUCCESS)
        return error_set(TUFF_ERROR_DEVICE, "vkCreateInstance failed: %s", vulkan_result_name(result));
    instance->owned = true;
    tuff_result loaded = load_instance_functions(instance);
    if (loaded == TUFF_OK && validate && instance->CreateDebugUtilsMessengerEXT) {
        messenger.pNext = NULL;
        result = instance->CreateDebugUtilsMessengerEXT(instance->handle, &messenger, NULL, &instance->messenger);
        if (result != VK_SUCCESS)
            loaded =
                error_set(TUFF_ERROR_DEVICE, "vkCreateDebugUtilsMessengerEXT failed: %s", vulkan_result_name(result));
    }
    if (loaded != TUFF_OK) instance_destroy(instance);
    return loaded;
}

tuff_result instance_adopt(vulkan_instance *instance, VkInstance handle, PFN_vkGetInstanceProcAddr load,
                           bool debug_utils) {
    instance->handle = handle;
    instance->owned = false;
    instance->api_version = VK_API_VERSION_1_2;
    instance->debug_utils = debug_utils;
    instance->validation = TUFF_VALIDATION_OFF; /* the host's business */
    instance->get_instance_proc_addr = load;
    return load_instance_functions(instance);
}

void instance_destroy(vulkan_instance *instance) {
    if (instance->messenger) instance->DestroyDebugUtilsMessengerEXT(instance->handle, instance->messenger, NULL);
    if (instance->owned && instance->handle && instance->DestroyInstance)
        instance->DestroyInstance(instance->handle, NULL);
    instance->messenger = VK_NULL_HANDLE;
    instance->handle = NULL;
}
